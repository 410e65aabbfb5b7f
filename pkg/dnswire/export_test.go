package dnswire

// LowerWord and LowerByte are for the comparison of the two.
var (
	LowerWord = lowerWord
	LowerByte = lowerByte
)
