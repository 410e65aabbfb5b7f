package durable

// Encode returns the whole file of payload, for tests that damage it.
func Encode(payload []byte) []byte {
	return append(encodeHeader(payload), payload...)
}
