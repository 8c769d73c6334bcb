package main

import (
	"context"
	"io"
	"net/rpc"
	"os"
	"os/exec"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/bullpen-go/bullpen/cmd/yardstick/internal/bare"
)

// go-plugin, over its two protocols, as its documentation shows it. Callers of a plugin share its connection.

const (
	rolePluginRPC  = "go-plugin net/rpc"
	rolePluginGRPC = "go-plugin gRPC"

	maxPlugin = 65 << 20 // gRPC refuses messages above 4 MiB otherwise
)

var handshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "YARDSTICK_PLUGIN", MagicCookieValue: "echo"}

var plugins = map[string]plugin.Plugin{rolePluginRPC: rpcPlugin{}, rolePluginGRPC: grpcPlugin{}}

// rpcPlugin makes the two sides of the net/rpc protocol.
type rpcPlugin struct{}

func (rpcPlugin) Server(*plugin.MuxBroker) (any, error) { return Echo{}, nil }

func (rpcPlugin) Client(_ *plugin.MuxBroker, c *rpc.Client) (any, error) {
	return netRPCCaller{c, "Plugin"}, nil
}

// grpcPlugin makes the two sides of the gRPC protocol.
type grpcPlugin struct{ plugin.NetRPCUnsupportedPlugin }

func (grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(&grpcEcho, nil)
	return nil
}

func (grpcPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return grpcCaller{c}, nil
}

// grpcEcho is what a generator would make of a service with two methods.
var grpcEcho = grpc.ServiceDesc{
	ServiceName: "yardstick.Echo",
	Methods: []grpc.MethodDesc{
		{MethodName: "String", Handler: grpcHandler[wrapperspb.StringValue]},
		{MethodName: "Bytes", Handler: grpcHandler[wrapperspb.BytesValue]},
	},
}

func grpcHandler[T any](_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	in := new(T)
	return in, decode(in)
}

type grpcCaller struct{ conn *grpc.ClientConn }

func (c grpcCaller) echo(s string) (string, error) {
	out := new(wrapperspb.StringValue)
	err := c.conn.Invoke(context.Background(), "/yardstick.Echo/String", wrapperspb.String(s), out)
	return out.Value, err
}

func (c grpcCaller) echoBytes(b []byte) ([]byte, error) {
	out := new(wrapperspb.BytesValue)
	err := c.conn.Invoke(context.Background(), "/yardstick.Echo/Bytes", wrapperspb.Bytes(b), out)
	return out.Value, err
}

func (c grpcCaller) close() {}

// servePlugin is the plugin's side.
func servePlugin(name string) {
	config := &plugin.ServeConfig{
		HandshakeConfig: handshake,
		Plugins:         map[string]plugin.Plugin{name: plugins[name]},
		Logger:          hclog.NewNullLogger(),
	}
	if name == rolePluginGRPC {
		config.GRPCServer = func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options, grpc.MaxRecvMsgSize(maxPlugin), grpc.MaxSendMsgSize(maxPlugin))...)
		}
	}
	plugin.Serve(config)
}

// pluginFleet is a number of plugin processes.
type pluginFleet struct {
	clients []*plugin.Client
	callers []caller
	workers []int
}

func startPluginRPC(workers int) (fleet, error)  { return startPlugins(workers, rolePluginRPC) }
func startPluginGRPC(workers int) (fleet, error) { return startPlugins(workers, rolePluginGRPC) }

func startPlugins(workers int, name string) (fleet, error) {
	f := &pluginFleet{}
	for range workers {
		if err := f.add(name); err != nil {
			f.close()
			return nil, err
		}
	}
	return f, nil
}

func (f *pluginFleet) add(name string) error {
	cmd := exec.Command(bare.Self())
	cmd.Env = append(os.Environ(), envRole+"="+name)
	config := &plugin.ClientConfig{
		HandshakeConfig: handshake,
		Plugins:         map[string]plugin.Plugin{name: plugins[name]},
		Cmd:             cmd,
		Managed:         true, // closed by CleanupClients, if it comes to that
		Logger:          hclog.NewNullLogger(),
		Stderr:          io.Discard,
		GRPCDialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(maxPlugin), grpc.MaxCallSendMsgSize(maxPlugin))},
	}
	config.AllowedProtocols = []plugin.Protocol{plugin.ProtocolNetRPC}
	if name == rolePluginGRPC {
		config.AllowedProtocols = []plugin.Protocol{plugin.ProtocolGRPC}
	}
	client := plugin.NewClient(config)
	f.clients = append(f.clients, client)
	protocol, err := client.Client()
	if err != nil {
		return err
	}
	c, err := protocol.Dispense(name)
	if err != nil {
		return err
	}
	f.callers = append(f.callers, c.(caller))
	f.workers = append(f.workers, cmd.Process.Pid)
	return nil
}

func (f *pluginFleet) caller(i int, _ load) (caller, error) { return f.callers[i%len(f.callers)], nil }
func (f *pluginFleet) pids() []int                          { return f.workers }

func (f *pluginFleet) close() {
	for _, c := range f.clients {
		c.Kill()
	}
}
