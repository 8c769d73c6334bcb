package wire

import "io"

// jsonTranscoder lets a type that only knows MarshalJSON travel on the binary wire.
type jsonTranscoder struct{}

func (jsonTranscoder) Transcode(dst io.Writer, src io.Reader) error {
	text, err := io.ReadAll(src)
	if err != nil {
		return err
	}
	var v any
	if err := decodeJSON(text, &v); err != nil {
		return err
	}
	b, err := appendValue(nil, v)
	if err != nil {
		return err
	}
	_, err = dst.Write(b)
	return err
}

// cborTranscoder lets a type that only knows UnmarshalJSON be decoded from the binary wire.
type cborTranscoder struct{}

func (cborTranscoder) Transcode(dst io.Writer, src io.Reader) error {
	b, err := io.ReadAll(src)
	if err != nil {
		return err
	}
	var v any
	if err := decMode.Unmarshal(b, &v); err != nil {
		return err
	}
	text, err := encodeJSON(v)
	if err != nil {
		return err
	}
	_, err = dst.Write(text)
	return err
}
