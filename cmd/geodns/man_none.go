//go:build !man

package main

import "github.com/spf13/cobra"

// addMan adds nothing: the pages are made when it is built for that, and the binary that is installed needs nothing of it.
func addMan(*cobra.Command) {}
