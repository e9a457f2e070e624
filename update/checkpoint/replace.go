package checkpoint

import (
	"cmp"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// replace creates a file beside path and puts it in its place once it is on the disk. What
// is a symbolic link stays one, and a file that is replaced has its mode.
func replace(path string, create func(io.Writer) error) (err error) {
	if path, err = linked(path); err != nil {
		return err
	}
	folder, name := filepath.Split(path)
	file, err := os.OpenFile(folder+"."+name+"."+rand.Text(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666) // as the umask lets it
	if err != nil {
		return err
	}
	defer func() {
		if err != nil { // the first error says why
			_ = file.Close()
			_ = os.Remove(file.Name())
		}
	}()
	if old, err := os.Stat(path); err == nil {
		if err := file.Chmod(old.Mode().Perm()); err != nil {
			return err
		}
	}
	if err := create(file); err != nil {
		return err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncFolder(cmp.Or(folder, "."))
}

// linked is where links from path lead, also if nothing is there. It leaves ".." to the
// system, which goes back from where a folder is, and not from where a link to it is.
func linked(path string) (string, error) {
	for range 40 { // as many as Linux follows
		to, err := os.Readlink(path)
		if err != nil { // no link
			return path, nil
		}
		if !filepath.IsAbs(to) {
			folder, _ := filepath.Split(path)
			to = folder + to
		}
		path = to
	}
	return "", &os.PathError{Op: "open", Path: path, Err: errors.New("too many links")}
}

// syncFolder makes the new name last, where a folder can be synchronized.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" || runtime.GOOS == "js" || runtime.GOOS == "wasip1" {
		return nil
	}
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
