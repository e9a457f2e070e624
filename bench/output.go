package main

import (
	"io"
	"os"
)

// An output is a file that is opened before anything is measured, so that a path that
// cannot be written fails at once, and written at the end: what it had stays until then.
type output struct {
	*os.File
	fresh bool // there was none
}

// newOutput opens a file, or is nil where there is no path.
func newOutput(path string) (*output, error) {
	if path == "" {
		return nil, nil
	}
	_, err := os.Stat(path)
	f, open := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if open != nil {
		return nil, open
	}
	return &output{f, os.IsNotExist(err)}, nil
}

// write replaces what the file has.
func (o *output) write(content func(w io.Writer) error) error {
	if info, err := o.Stat(); err == nil && info.Mode().IsRegular() {
		if err := o.Truncate(0); err != nil {
			return err
		}
	}
	if err := content(o); err != nil {
		return err
	}
	o.fresh = false
	return o.Close()
}

// drop takes back a file that was made and not written.
func (o *output) drop() {
	if o != nil && o.fresh {
		o.Close()
		os.Remove(o.Name())
	}
}
