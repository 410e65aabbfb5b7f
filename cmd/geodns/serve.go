package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"geodns/internal/node"
	"geodns/internal/source"
)

// newServe builds `geodns serve`.
func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server until it is interrupted. Without a file it serves ./zones on 127.0.0.1:5300, with the built-in continent
database, and its API on 127.0.0.1:8053. Changed zones, policies, databases and cookie secrets are loaded by themselves; SIGHUP
and "geodns reload" load at once. The server's own file is read at the start only.`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd) },
	}
	addConfig(cmd)
	cmd.Flags().String("log", "info", "debug, info, warn or error")
	return cmd
}

// serve runs a node until a signal ends it.
func serve(cmd *cobra.Command) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cmd.Flag("log").Value.String())); err != nil {
		return usagef("--log is debug, info, warn or error, not %q", cmd.Flag("log").Value.String())
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	cfg, err := configFor(cmd)
	if err != nil {
		return err
	}
	cfg.Log = log

	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)

	n, err := node.New(cfg)
	if err != nil {
		return refusal(cmd, err)
	}
	notify(log, "READY=1")
	reloading := make(chan struct{})
	go func() {
		defer close(reloading)
		reloadOnHangup(ctx, n, hangups, log)
	}()
	err = n.Run(ctx)
	stop() // also where Run ended by itself
	<-reloading
	notify(log, "STOPPING=1")
	return err
}

// reloadOnHangup begins a load at each SIGHUP, one after the other; hangups meanwhile are one. Ends with ctx.
func reloadOnHangup(ctx context.Context, n *node.Node, hangups <-chan os.Signal, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			// The node logs what came of it; there is nobody here to tell.
			if _, err := n.Reload(ctx, "signal"); err != nil && ctx.Err() == nil {
				log.Error("reload on SIGHUP", "error", err.Error())
			}
		}
	}
}

// configFor reads the configuration for a command that cannot go on with a finding.
func configFor(cmd *cobra.Command) (node.Config, error) {
	cfg, findings, err := loadConfig(cmd)
	if err != nil {
		return cfg, err
	}
	writeFindings(cmd.ErrOrStderr(), findings)
	if findings.HasErrors() {
		return cfg, errRefused
	}
	return cfg, nil
}

// refusal prints the findings that an error may consist of, and gives the error to end with.
func refusal(cmd *cobra.Command, err error) error {
	type withFindings interface{ Findings() source.Findings }
	if found, ok := errors.AsType[interface {
		error
		withFindings
	}](err); ok {
		writeFindings(cmd.ErrOrStderr(), found.Findings())
		return fmt.Errorf("nothing is served: %s", count(found.Findings().Errors(), "error"))
	}
	return err
}
