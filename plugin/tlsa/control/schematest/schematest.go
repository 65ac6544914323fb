// Package schematest checks documents against a JSON schema in the tests of the packages that make and read them. It knows
// the words of draft 2020-12 that our schema uses, and refuses a schema with any other.
package schematest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Check gives an error that names the first place where the document is not what the schema says.
func Check(schema, document []byte) error {
	var root map[string]any
	if err := json.Unmarshal(schema, &root); err != nil {
		return fmt.Errorf("reading the schema: %w", err)
	}
	var doc any
	if err := json.Unmarshal(document, &doc); err != nil {
		return fmt.Errorf("reading the document: %w", err)
	}
	return checker{root}.check("$", root, doc)
}

type checker struct{ root map[string]any }

// check applies every word of one schema to a value.
func (c checker) check(at string, schema map[string]any, v any) error {
	for _, word := range slices.Sorted(maps.Keys(schema)) {
		if err := c.word(at, word, schema, v); err != nil {
			return err
		}
	}
	return nil
}

func (c checker) word(at, word string, schema map[string]any, v any) error {
	want := schema[word]
	fails := func(ok bool) error {
		if ok {
			return nil
		}
		return fmt.Errorf("%s: %.100v is not of %s %v", at, v, word, want)
	}
	switch word {
	case "$schema", "$id", "$defs", "title", "description":
		return nil
	case "$ref":
		return c.ref(at, want, v)
	case "type":
		return fails(kind(v) == want || kind(v) == "integer" && want == "number")
	case "const":
		return fails(reflect.DeepEqual(v, want))
	case "enum":
		return fails(slices.ContainsFunc(want.([]any), func(one any) bool { return reflect.DeepEqual(v, one) }))
	case "minimum":
		n, ok := v.(float64)
		return fails(ok && n >= want.(float64))
	case "minLength":
		s, ok := v.(string)
		return fails(ok && float64(utf8.RuneCountInString(s)) >= want.(float64))
	case "minItems":
		list, ok := v.([]any)
		return fails(ok && float64(len(list)) >= want.(float64))
	case "pattern":
		s, ok := v.(string)
		return fails(ok && regexp.MustCompile(want.(string)).MatchString(s))
	case "items":
		return c.items(at, want.(map[string]any), v)
	case "required":
		return c.required(at, want.([]any), v)
	case "properties":
		return c.properties(at, want.(map[string]any), v)
	case "additionalProperties":
		return c.known(at, schema, v)
	}
	return fmt.Errorf("%s: the schema has the word %q, which this check does not know", at, word)
}

func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case float64:
		if v == math.Trunc(v) {
			return "integer"
		}
	}
	return "number"
}

func (c checker) ref(at string, to, v any) error {
	name, ours := strings.CutPrefix(fmt.Sprint(to), "#/$defs/")
	defs, _ := c.root["$defs"].(map[string]any)
	schema, there := defs[name].(map[string]any)
	if !ours || !there {
		return fmt.Errorf("%s: the schema has no %v", at, to)
	}
	return c.check(at, schema, v)
}

func (c checker) items(at string, schema map[string]any, v any) error {
	list, _ := v.([]any)
	for i, one := range list {
		if err := c.check(fmt.Sprintf("%s[%d]", at, i), schema, one); err != nil {
			return err
		}
	}
	return nil
}

func (c checker) required(at string, names []any, v any) error {
	object, _ := v.(map[string]any)
	for _, name := range names {
		if _, there := object[fmt.Sprint(name)]; !there {
			return fmt.Errorf("%s: %v is missing", at, name)
		}
	}
	return nil
}

func (c checker) properties(at string, schemas map[string]any, v any) error {
	object, _ := v.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		value, there := object[name]
		if !there {
			continue
		}
		if err := c.check(at+"."+name, schemas[name].(map[string]any), value); err != nil {
			return err
		}
	}
	return nil
}

// known wants no property that the schema does not describe; only false is understood.
func (c checker) known(at string, schema map[string]any, v any) error {
	properties, _ := schema["properties"].(map[string]any)
	object, _ := v.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if _, there := properties[name]; !there && schema["additionalProperties"] == false {
			return fmt.Errorf("%s: the schema does not describe %q", at, name)
		}
	}
	return nil
}
