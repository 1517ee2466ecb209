//go:build !(amd64 || arm64 || riscv64)

package unix

// Constants differ by machine. To add one, name it in the list of generate_test.go, and in the build constraints here and in descriptor.go.
var _ = package_unix_is_generated_for_amd64_arm64_and_riscv64_alone
