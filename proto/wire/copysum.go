package wire

// CopySum copies src to dst, which is at least as long, and returns initial plus the sum of
// what was copied.
func CopySum(dst, src []byte, initial Sum) Sum {
	n := copy(dst[:len(src)], src)
	return sumBytes(dst[:n], initial)
}
