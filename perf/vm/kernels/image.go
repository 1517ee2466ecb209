package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

// modules are what the guest uses and a cloud kernel does not have built in. One that is not there
// is built in.
var modules = []string{"virtio_pci", "virtio_net", "veth", "tun", "bridge", "af_packet", "ipv6", "sch_fq", "sch_netem", "xsk_diag"}

// An image is the initial file system of a guest, which is all that it has.
type image struct {
	records []cpio.Record
	dirs    map[string]bool
}

// write adds a file.
func (m *image) write(path string, mode uint64, contents []byte) {
	m.parents(path)
	m.records = append(m.records, cpio.StaticFile(strings.TrimPrefix(path, "/"), string(contents), mode))
}

func (m *image) parents(path string) {
	for i, r := range path {
		if dir := path[:i]; r == '/' && i > 0 && !m.dirs[dir] {
			m.dirs[dir] = true
			m.records = append(m.records, cpio.Directory(strings.TrimPrefix(dir, "/"), 0o755))
		}
	}
}

// copy adds a file of this machine.
func (m *image) copy(from, to string) error {
	b, err := os.ReadFile(from)
	if err == nil {
		m.write(to, 0o755, b)
	}
	return err
}

// program adds a program of this machine with the libraries that it is linked to.
func (m *image) program(ctx context.Context, name string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("%s: %w: install the packages of .ci/packages", name, err)
	}
	if err := m.copy(path, "/bin/"+name); err != nil {
		return err
	}
	libs, err := output(ctx, "", "ldd", path)
	if err != nil {
		return err
	}
	for _, word := range strings.Fields(libs) {
		if strings.HasPrefix(word, "/") && !m.dirs[word] {
			m.dirs[word] = true
			if err := m.copy(word, word); err != nil {
				return err
			}
		}
	}
	return nil
}

// module adds a kernel module after those that it depends on, and appends the paths to the list.
func (m *image) module(ctx context.Context, tree, name string, depends map[string][]string, list []string) ([]string, error) {
	var file string
	for f := range depends {
		base, _, _ := strings.Cut(filepath.Base(f), ".")
		if strings.ReplaceAll(base, "-", "_") == name {
			file = f
		}
	}
	if file == "" {
		return list, nil
	}
	for _, f := range append(depends[file], file) {
		base, _, _ := strings.Cut(filepath.Base(f), ".")
		path := "/modules/" + base + ".ko"
		if m.dirs[path] {
			continue
		}
		m.dirs[path] = true
		b, err := inflate(ctx, filepath.Join(tree, f))
		if err != nil {
			return nil, err
		}
		m.write(path, 0o644, b)
		list = append(list, path)
	}
	return list, nil
}

// inflate reads a module, however it is compressed.
func inflate(ctx context.Context, path string) ([]byte, error) {
	for suffix, program := range map[string]string{".xz": "xz", ".zst": "zstd", ".gz": "gzip"} {
		if strings.HasSuffix(path, suffix) {
			s, err := output(ctx, "", program, "-dc", path)
			return []byte(s), err
		}
	}
	return os.ReadFile(path)
}

// boot finds the kernel's image and the folder of its modules below where its package was unpacked.
func boot(dir string) (vmlinuz, tree string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(d.Name(), "vmlinuz"):
			vmlinuz = path
		case d.Name() == "kernel" && filepath.Base(filepath.Dir(filepath.Dir(path))) == "modules":
			tree = filepath.Dir(path)
			return fs.SkipDir
		}
		return nil
	})
	if err == nil && (vmlinuz == "" || tree == "") {
		err = errors.New("the package has no vmlinuz or no modules where they are looked for")
	}
	return vmlinuz, tree, err
}

// dependencies are those of all modules below the tree, by their paths in it; each list in the order
// of loading. Debian makes modules.dep when a kernel is installed, which here it is not.
func dependencies(ctx context.Context, tree string) (map[string][]string, error) {
	release := filepath.Base(tree)
	base := filepath.Dir(filepath.Dir(filepath.Dir(tree))) // of lib/modules/RELEASE
	if filepath.Base(filepath.Dir(filepath.Dir(tree))) != "lib" {
		return nil, fmt.Errorf("%s is not lib/modules of anything", tree)
	}
	if _, err := output(ctx, "", "depmod", "-b", base, release); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(tree, "modules.dep"))
	if err != nil {
		return nil, err
	}
	depends := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		file, list, _ := strings.Cut(strings.TrimSpace(line), ":")
		depends[file] = nil
		for _, f := range strings.Fields(list) {
			depends[file] = append([]string{f}, depends[file]...) // modules.dep names what is needed first last
		}
	}
	return depends, nil
}

// build makes the image of a kernel and writes it.
func (m *image) build(ctx context.Context, path, tree string, plan report.Plan) error {
	depends, err := dependencies(ctx, tree)
	if err != nil {
		return err
	}
	for _, name := range modules {
		if plan.Modules, err = m.module(ctx, tree, name, depends, plan.Modules); err != nil {
			return err
		}
	}
	b, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	m.write(report.PlanPath, 0o644, b)
	for _, dir := range []string{"proc", "sys", "dev", "tmp", "run"} {
		m.parents("/" + dir + "/")
	}
	m.records = append(m.records, cpio.CharDev("dev/console", 0o600, 5, 1))
	var out bytes.Buffer
	w := cpio.Newc.Writer(&out)
	if err := cpio.WriteRecords(w, m.records); err != nil {
		return err
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}
