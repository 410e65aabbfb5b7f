package main

import (
	"slices"
	"strings"

	"geodns/internal/source"
)

// later lists the keys that have a meaning in a later version. They are refused with that word, so that nobody believes that
// they work.
func later() []string {
	return []string{"tls", "rrl", "proxy", "anycast", "cluster"}
}

// checkFile walks the server's file: unknown keys, wrong kinds, each with its place. The places of what it has are kept.
func checkFile(name string, data []byte, at places, findings *source.Findings) {
	value, ok := source.ParseYAML(name, data, findings)
	if !ok || !value.Exists() {
		return
	}
	groups := map[string][]string{}
	top := later()
	for _, s := range settings() {
		group, inner, nested := strings.Cut(s.key, keyDelimiter)
		if nested {
			groups[group] = append(groups[group], inner)
		}
		if !slices.Contains(top, group) {
			top = append(top, group)
		}
	}
	root, ok := value.Map(findings, top...)
	if !ok {
		return
	}
	for _, key := range later() {
		if v := root.Get(key); v.Exists() {
			findings.Errorf(v.Place(), "%q is not supported yet by this version", key)
		}
	}
	maps := map[string]source.Map{"": root}
	for group, inner := range groups {
		if v := root.Get(group); v.Exists() {
			maps[group], _ = v.Map(findings, inner...)
		}
	}
	for _, s := range settings() {
		group, key, nested := strings.Cut(s.key, keyDelimiter)
		if !nested {
			group, key = "", s.key
		}
		in, ok := maps[group]
		if !ok {
			continue
		}
		if v := in.Get(key); v.Exists() {
			at[s.key] = v.Place()
			for i, item := range checkKind(v, &s, findings) {
				at[itemKey(s.key, i)] = item.Place()
			}
		}
	}
}

// checkKind reports a value that is not of the kind of its setting's default, and gives a list's items.
func checkKind(v source.Value, s *setting, findings *source.Findings) []source.Value {
	switch s.value.(type) {
	case int:
		v.Int(findings, int64(s.lo), int64(s.hi))
	case bool:
		v.Bool(findings)
	case float64:
		v.Float(findings, 0, 1)
	case string:
		v.String(findings)
	case []string:
		items, _ := v.List(findings)
		for _, item := range items {
			item.String(findings)
		}
		return items
	}
	return nil
}
