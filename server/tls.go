package server

import (
	"crypto/tls"
	"errors"
	"fmt"
)

// tlsConfig returns the configuration of TCP listeners, or nil if the service has none.
func (s *Service) tlsConfig() (*tls.Config, error) {
	if s == nil || s.hooks.TLS == nil {
		return nil, nil
	}
	config, err := s.hooks.TLS()
	switch {
	case err != nil:
		return nil, fmt.Errorf("Hooks.TLS: %w", err)
	case config == nil || config.ClientAuth != tls.RequireAndVerifyClientCert:
		return nil, errors.New("Hooks.TLS must return a config with ClientAuth: tls.RequireAndVerifyClientCert, as " +
			"whoever can connect can run every method")
	}
	return config, nil
}
