package rollover

import (
	"reflect"
	"testing"
	"time"
)

// everything is a timeline with one of each thing in it.
func everything() *Timeline {
	key := Key{Material: leaf("A<X"), Places: []Place{place(live)}}
	return &Timeline{
		OldTTLs: make([]TTLUse, 1), Combinations: combinations("3 1 1"), Keys: []Key{key}, Fixed: make([]Fixed, 1),
		Associations: make([]Times, 1), Revoked: []Revocation{{Keys: []Key{key}, Fixed: make([]Fixed, 1)}},
	}
}

// leavesOf gives the plain values in v, by their paths.
func leavesOf(v reflect.Value, path string, visit func(string, reflect.Value)) {
	switch {
	case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
		for i := range v.NumField() {
			leavesOf(v.Field(i), path+"."+v.Type().Field(i).Name, visit)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			leavesOf(v.Index(i), path+"[]", visit)
		}
		visit(path, v)
	default:
		visit(path, v)
	}
}

func TestTimelinesAreEqualOnlyInEverything(t *testing.T) {
	if !everything().equal(everything()) {
		t.Fatal("the same timeline is not equal")
	}
	var paths []string
	leavesOf(reflect.ValueOf(everything()).Elem(), "", func(path string, _ reflect.Value) { paths = append(paths, path) })
	for i, path := range paths {
		other, n := everything(), 0
		leavesOf(reflect.ValueOf(other).Elem(), "", func(_ string, v reflect.Value) {
			if n++; n-1 != i {
				return
			}
			switch {
			case v.Type() == reflect.TypeFor[time.Time]():
				v.Set(reflect.ValueOf(at(hour).Wall))
			case v.Kind() == reflect.String:
				v.SetString(v.String() + "x")
			case v.Kind() == reflect.Bool:
				v.SetBool(!v.Bool())
			case v.CanInt():
				v.SetInt(v.Int() + 1)
			case v.CanUint():
				v.SetUint(v.Uint() + 1)
			default: // a slice
				v.SetZero()
			}
		})
		if everything().equal(other) {
			t.Errorf("timelines that differ in %s are equal", path)
		}
	}
}
