//go:build !race

package wire_test

import (
	"bytes"
	"testing"

	"github.com/bullpen-go/bullpen/wire"
)

// TestAllocations counts the allocations of a whole echo: a call written, read and decoded by the worker, and its
// result written, read and decoded by the client.
func TestAllocations(t *testing.T) {
	for _, test := range []struct {
		kind wire.Kind
		most float64
	}{{wire.Binary, 2}, {wire.JSON, 10}} {
		var up, down bytes.Buffer
		client := wire.NewClientConn(pipe{&down, &up}, test.kind, 0)
		worker := wire.NewWorkerConn(pipe{&up, &down}, test.kind, 0)
		var call, served wire.Message
		var in, out string
		arg := "some text of forty bytes, more or less.."
		values, results := []any{&arg}, []any{&in}
		intoIn, intoOut := []any{&in}, []any{&out}
		echo := func() {
			call = wire.Message{Type: wire.TypeDo, ID: 1, Method: "echo", Last: true, Values: values}
			err := client.Write(&call)
			if err == nil {
				err = worker.Read(&served)
			}
			if err == nil {
				err = served.Decode(intoIn...)
			}
			served.Type, served.Values = wire.TypeOK, results
			if err == nil {
				err = worker.Write(&served)
			}
			if err == nil {
				err = client.Read(&call)
			}
			if err == nil {
				err = call.Decode(intoOut...)
			}
			if err != nil || out != arg {
				t.Fatalf("%q, %v", out, err)
			}
		}
		got := testing.AllocsPerRun(1000, echo)
		t.Logf("%s wire: %.0f allocations for an echo of a string", test.kind, got)
		if got > test.most {
			t.Errorf("%s wire: %.0f allocations, at most %.0f are expected", test.kind, got, test.most)
		}
	}
}
