package zone

// Arena gives the compiled bytes of a Set.
func Arena(s *Set) []byte { return s.arena }
