package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// yamlIndent is how far a level is moved in, as in the server's own files.
const yamlIndent = 2

// writeYAML writes a document as YAML. It is made from the document's JSON, so that keys, their order and what is left out are the
// same in both.
func writeYAML(w io.Writer, document any) error {
	text, err := json.Marshal(document)
	if err != nil {
		return err
	}
	node, err := yamlNode(text)
	if err != nil {
		return err
	}
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(yamlIndent)
	if err := encoder.Encode(node); err != nil {
		return err
	}
	return encoder.Close()
}

// yamlNode reads JSON as a YAML node.
func yamlNode(text []byte) (*yaml.Node, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber() // digits stay as they are
	node, err := nextNode(decoder)
	if err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("reading JSON: there is more behind the document")
	}
	return node, nil
}

// nextNode reads the next value. Its depth is bounded by the decoder's own limit.
func nextNode(decoder *json.Decoder) (*yaml.Node, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch value := token.(type) {
	case json.Delim:
		node := &yaml.Node{Kind: yaml.SequenceNode}
		if value == '{' {
			node.Kind = yaml.MappingNode
		}
		// A mapping's node has keys and values by turns, as they come here.
		for decoder.More() {
			inner, err := nextNode(decoder)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, inner)
		}
		if len(node.Content) == 0 {
			node.Style = yaml.FlowStyle // {} or [], which have no other form
		}
		_, err := decoder.Token() // the bracket that ends it
		return node, err
	case string:
		return yamlString(value), nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: value.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(value)}, nil
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
	}
}

// yamlString is a string that stays one: the tag has the encoder quote what would be read as something else. What only readers of
// YAML 1.1 take for something else, or some for a merge, is quoted here.
func yamlString(value string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if value == "" || strings.ContainsFunc(value, odd) || strings.TrimSpace(value) != value || oldYAML(value) {
		node.Style = yaml.DoubleQuotedStyle
	}
	return node
}

// oldYAML says whether YAML 1.1 has another meaning for a word: a truth value, a number to the base of 60, a merge.
func oldYAML(word string) bool {
	switch strings.ToLower(word) {
	case "y", "yes", "on", "n", "no", "off", "<<", "=":
		return true
	}
	return strings.Contains(word, ":") && strings.Trim(word, "0123456789:._+-") == ""
}
