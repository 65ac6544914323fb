package dane_test

import (
	"fmt"
	"os"

	"github.com/coredns-tlsa/coredns-tlsa/plugin/tlsa/dane"
)

func ExampleMaterial_Association() {
	file, err := os.ReadFile("testdata/sha1-chain.pem")
	if err != nil {
		fmt.Println(err)
		return
	}
	content, err := dane.Parse(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	var combinations []dane.Combination
	for _, words := range [][3]string{{"DANE-EE", "SPKI", "SHA2-256"}, {"2", "1", "1"}} {
		c, err := dane.ParseCombination(words[0], words[1], words[2])
		if err != nil {
			fmt.Println(err)
			return
		}
		combinations = append(combinations, c)
	}
	for _, leaf := range dane.Leaves(content.Certificates, nil) {
		for _, c := range combinations {
			association, err := leaf.Material().Association(c)
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println(association.TLSA("_25._tcp.sha1.example.org.", 3600))
		}
	}
	// Output:
	// _25._tcp.sha1.example.org.	3600	IN	TLSA	3 1 1 c1029f666e7b1e59631ed8fe766a97002b2991ac6467c6b488fa68de96969e6a
	// _25._tcp.sha1.example.org.	3600	IN	TLSA	2 1 1 0be364a04925965c6716e9c5d316d5af84e68c23c9b0f43ebb98ddb9b0a80f7f
}
