package zone_test

// madeZones gives zones that are no plain text, or long, by name.
func madeZones() map[string]string { return map[string]string{} }
