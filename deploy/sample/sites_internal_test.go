package main

import (
	"os"
	"strings"
	"testing"
)

// TestSitesAreThePolicysTargets checks that the back ends are where the sample policy looks for them.
func TestSitesAreThePolicysTargets(t *testing.T) {
	text, err := os.ReadFile("../../zones/www.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range newSites() {
		address, port, _ := strings.Cut(s.address, ":")
		for _, want := range []string{"name: " + s.name + ",", "values: [" + address + "]", "port: " + port + ","} {
			if !strings.Contains(string(text), want) {
				t.Errorf("site %s: zones/www.yaml has no %q", s.name, want)
			}
		}
	}
}
