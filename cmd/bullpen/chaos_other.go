//go:build !linux

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func chaosCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "chaos",
		Short: "Kill, stop and crash apps, servers and workers, and count what goes wrong (Linux only)",
		RunE: func(*cobra.Command, []string) error {
			return fmt.Errorf("chaos counts what it finds in /proc, which only Linux has: %w", errors.ErrUnsupported)
		},
	}
}
