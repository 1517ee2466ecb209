package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// An archive is one suite of Debian's, seen by an apt that knows nothing else: what this machine
// has installed and where it installs from stay as they are.
type archive struct {
	root  string
	suite string
}

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// fetch brings a kernel's files below a folder of the cache. Where the archive cannot be reached, or has the
// kernel no more, those do that were fetched before: the note says so.
func fetch(ctx context.Context, k kernel, o options) (dir, note string, err error) {
	dir, err = fromArchive(ctx, k, o)
	if err == nil {
		return dir, "", nil
	}
	kept, globErr := filepath.Glob(filepath.Join(o.cache, imagePrefix+k.pattern+"*"+imageSuffix, complete))
	if globErr != nil || len(kept) == 0 || ctx.Err() != nil {
		return "", "", err
	}
	slices.SortFunc(kept, compareVersions)
	dir = filepath.Dir(kept[len(kept)-1])
	return dir, fmt.Sprintf("as fetched before: %v", err), nil
}

func fromArchive(ctx context.Context, k kernel, o options) (dir string, err error) {
	a, err := openArchive(ctx, o.cache, o.mirror, k.suite)
	if err != nil {
		return "", err
	}
	name, err := a.newest(ctx, k)
	if err != nil {
		return "", err
	}
	return a.unpack(ctx, o.cache, name)
}

// openArchive makes the apt of a suite below the cache and fetches the list of what there is.
func openArchive(ctx context.Context, cache, mirror, suite string) (*archive, error) {
	a := &archive{root: filepath.Join(cache, "apt", suite), suite: suite}
	for _, dir := range []string{"etc/apt/preferences.d", "etc/apt/apt.conf.d", "etc/apt/sources.list.d", "var/lib/apt/lists/partial", "var/lib/dpkg", "var/cache/apt/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.root, dir), 0o755); err != nil {
			return nil, err
		}
	}
	source := fmt.Sprintf("deb [signed-by=%s] %s %s main\n", keyring, mirror, suite)
	if err := errors.Join(
		os.WriteFile(filepath.Join(a.root, "etc/apt/sources.list"), []byte(source), 0o644),
		os.WriteFile(filepath.Join(a.root, "var/lib/dpkg/status"), nil, 0o644)); err != nil {
		return nil, err
	}
	if _, err := a.run(ctx, "", "apt-get", "-qq", "update"); err != nil {
		return nil, fmt.Errorf("the suite %s of %s: %w", suite, mirror, err)
	}
	return a, nil
}

// run runs a program of apt on the archive alone.
func (a *archive) run(ctx context.Context, dir, name string, args ...string) (string, error) {
	args = append([]string{
		"-o", "Dir=" + a.root, "-o", "Dir::State::status=" + filepath.Join(a.root, "var/lib/dpkg/status"),
		"-o", "APT::Architecture=amd64", "-o", "APT::Architectures=amd64", "-o", "Acquire::Languages=none",
		"-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false", "-o", "APT::Sandbox::User=root",
		"-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1", "-o", "APT::Update::Error-Mode=any",
	}, args...)
	return output(ctx, dir, name, args...)
}

// output is what a program prints; its complaint is the error.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second // for its children to let go of what it printed to
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if said := complaint(stderr.String()); said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return stdout.String(), nil
}

// complaint is the line that matters of what a program complained of: its last, but of apt's errors the first.
func complaint(stderr string) string {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "E: ") }); i >= 0 {
		return lines[i]
	}
	return lines[len(lines)-1]
}

// The names of the packages, and the file that says that one was unpacked to its end.
const imagePrefix, imageSuffix, complete = "linux-image-", "-cloud-amd64", "complete"

// newest is the package of the newest kernel that fits.
func (a *archive) newest(ctx context.Context, k kernel) (string, error) {
	names, err := a.run(ctx, "", "apt-cache", "pkgnames", imagePrefix+k.pattern)
	if err != nil {
		return "", err
	}
	var fit []string
	for _, name := range strings.Fields(names) {
		if strings.HasSuffix(name, imageSuffix) {
			fit = append(fit, name)
		}
	}
	if len(fit) == 0 {
		return "", fmt.Errorf("the suite %s has no %s%s*%s any more", a.suite, imagePrefix, k.pattern, imageSuffix)
	}
	slices.SortFunc(fit, compareVersions)
	return fit[len(fit)-1], nil
}

// compareVersions orders names by the numbers in them.
func compareVersions(x, y string) int {
	digits := func(r rune) bool { return r < '0' || r > '9' }
	a, b := strings.FieldsFunc(x, digits), strings.FieldsFunc(y, digits)
	for i := range min(len(a), len(b)) {
		// Without leading zeros a longer number is a larger one.
		p, q := strings.TrimLeft(a[i], "0"), strings.TrimLeft(b[i], "0")
		if len(p) != len(q) {
			return len(p) - len(q)
		}
		if c := strings.Compare(p, q); c != 0 {
			return c
		}
	}
	return len(a) - len(b)
}

// unpack brings a kernel's files below a folder of the cache: its package's, and those of the
// packages in which newer kernels keep the image and the modules.
func (a *archive) unpack(ctx context.Context, cache, name string) (string, error) {
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(filepath.Join(dir, complete)); err == nil {
		return dir, nil
	}
	parts := []string{name}
	depends, err := a.run(ctx, "", "apt-cache", "depends", "--important", name)
	if err != nil {
		return "", err
	}
	release := strings.TrimPrefix(name, imagePrefix)
	for _, word := range strings.Fields(depends) {
		if strings.HasSuffix(word, release) && !slices.Contains(parts, word) && word != "linux-headers-"+release {
			parts = append(parts, word)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if _, err := a.run(ctx, dir, "apt-get", append([]string{"-qq", "download"}, parts...)...); err != nil {
		return "", fmt.Errorf("download of %s: %w", strings.Join(parts, ", "), err)
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return "", err
	}
	for _, deb := range debs {
		if _, err := output(ctx, dir, "dpkg-deb", "-x", deb, dir); err != nil {
			return "", err
		}
		if err := os.Remove(deb); err != nil {
			return "", err
		}
	}
	return dir, os.WriteFile(filepath.Join(dir, complete), nil, 0o644)
}
