package geo

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"geodns/internal/source"
)

// What the tests look at inside.
var (
	Merge         = merge
	IsMMDB        = isMMDB
	SampleMax     = sampleMax
	KindOf        = func(databaseType string) string { return kindOf(databaseType).String() }
	CountryCodes  = func() map[string]facts { return countryFacts() }
	NetworksLimit = networksMax
)

// Finished is the place with its continent filled in.
func (p Place) Finished() Place { return p.finished() }

// LayerOf is a database parsed from memory, nil if it was refused.
func LayerOf(path string, data []byte) (*Layer, source.Findings) {
	db, fs := parseDatabase(path, data)
	if fs.HasErrors() {
		return nil, fs
	}
	return &Layer{db.layer}, fs
}

// Layer is a parsed database.
type Layer struct{ l *layer }

// Compile makes networks of parsed databases and of a file of overrides.
func Compile(layers []*Layer, overrides []byte) (*Networks, source.Findings) {
	parsed, fs := parseOverrides("overrides.yaml", overrides)
	var in []*layer
	for _, l := range layers {
		in = append(in, l.l)
	}
	return compile(in, parsed), fs
}

// ID is a content hash: what tests compare two Networks by.
func (n *Networks) ID() string {
	h := sha256.New()
	fmt.Fprintf(h, "%+v", *n)
	return hex.EncodeToString(h.Sum(nil))
}

// ID is that of its Networks.
func (d *Data) ID() string { return d.Networks.ID() }
