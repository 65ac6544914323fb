package rollover
import ("testing";"math/rand/v2";"fmt";"time";"os";"strconv")
func TestDbg(t *testing.T) {
		seed,_ := strconv.Atoi(os.Getenv("SEED"))
		random := rand.New(rand.NewPCG(uint64(seed), 1))
		s := newSimulation(t, true, func(n int, l string) int { x:= random.IntN(n); if l!="lineage" {fmt.Println("   ",l,x)}; return x })
	for range 300 {
		s.act()
		fmt.Println(time.Duration(s.real), s.installed, s.old, s.failing, s.String(), s.timeline.Combinations, s.p.Combinations, len(s.timeline.Keys), len(s.last.RRset), len(s.shown), s.last.Next, s.wall)
		if err := s.check(); err != nil {
			fmt.Println(err); for p,f:=range s.files {fmt.Println(p,f)}; return
		}
		s.happen()
		if err := s.check(); err != nil {
			fmt.Println("AFTER", err); for p,f:=range s.files {fmt.Println(p,f)}; return
		}
	}
}
