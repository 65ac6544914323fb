package rollover

import (
	"reflect"
	"testing"
	"time"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

// TestEqualSeesEveryField changes each field that a timeline has, at any depth: who adds one cannot forget Equal.
func TestEqualSeesEveryField(t *testing.T) {
	make1 := func() *Timeline {
		key := Key{Places: []Place{{}}}
		return &Timeline{
			OldTTLs: []TTLUse{{}}, Combinations: []dane.Combination{{}}, Keys: []Key{key}, Fixed: []Fixed{{}},
			Associations: []Times{{}}, Revoked: []Revocation{{Keys: []Key{key}, Fixed: []Fixed{{}}}},
		}
	}
	if !make1().Equal(make1()) {
		t.Fatal("a timeline does not equal itself")
	}
	fields := 0
	var walk func(path string, v reflect.Value, equal func() bool)
	walk = func(path string, v reflect.Value, equal func() bool) {
		was := reflect.ValueOf(v.Interface())
		switch v.Interface().(type) {
		case time.Time:
			v.Set(reflect.ValueOf(time.Unix(1, 0)))
		default:
			switch v.Kind() {
			case reflect.Struct:
				for i := range v.NumField() {
					walk(path+"."+v.Type().Field(i).Name, v.Field(i), equal)
				}
				return
			case reflect.Slice:
				walk(path, v.Index(0), equal)
				v.Set(reflect.Zero(v.Type()))
			case reflect.String:
				v.SetString("x")
			case reflect.Bool:
				v.SetBool(true)
			case reflect.Int64:
				v.SetInt(1)
			case reflect.Uint8, reflect.Uint32:
				v.SetUint(1)
			default:
				t.Fatalf("%s is a %s", path, v.Kind())
			}
		}
		if fields++; equal() {
			t.Errorf("%s makes no difference", path)
		}
		v.Set(was)
	}
	one, other := make1(), make1()
	walk("Timeline", reflect.ValueOf(one).Elem(), func() bool { return one.Equal(other) || other.Equal(one) })
	if fields < 80 {
		t.Errorf("only %d fields", fields)
	}
}
