// What franz-go makes of formats: `franz formats` prints what test/cli/fixtures keeps, for the command line to agree with.
package main

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type formatted struct {
	Format string   `json:"format"`
	Out    []string `json:"out"` // base64
	Err    string   `json:"err,omitempty"`
}
type read struct {
	Format  string   `json:"format"`
	Input   string   `json:"input"`
	Records []string `json:"records"`
	Err     string   `json:"err,omitempty"`
}

func formats() {
	recs := []*kgo.Record{
		{Topic: "füu", Partition: 3, Offset: 1234567890123, Key: []byte("k\xff"), Value: []byte("\x01\xff\x02\x80\x03\x00\x00\x80tail"), LeaderEpoch: 7, ProducerID: 4001, ProducerEpoch: 2, Timestamp: time.UnixMilli(1700000000123),
			Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "bé", Value: nil}, {Key: "a", Value: []byte("\xfe\xff")}}},
		{Topic: "t", Partition: 0, Offset: 0, Key: nil, Value: nil, LeaderEpoch: -1, ProducerID: -1, ProducerEpoch: -1, Timestamp: time.UnixMilli(951786000000)},
	}
	fp := &kgo.FetchPartition{LogStartOffset: 5, LastStableOffset: 300, HighWatermark: 70000}
	var layouts []string
	for _, verb := range []string{"T", "K", "V", "H", "p", "o", "e", "d", "x", "y", "[", "|", "]", "i"} {
		layouts = append(layouts, "%"+verb)
		for _, m := range []string{"ascii", "number", "hex64", "hex32", "hex16", "hex8", "hex4", "hex", "big64", "big32", "big16", "big8", "little64", "little32", "little16", "little8", "byte", "bool"} {
			if verb == "o" || verb == "x" || verb == "e" || m == "hex" {
				layouts = append(layouts, "%"+verb+"{"+m+"}")
			}
		}
	}
	for _, verb := range []string{"t", "k", "v"} {
		for _, m := range []string{"", "{hex}", "{base64}", "{base64raw}"} {
			layouts = append(layouts, "%"+verb+m)
		}
	}
	layouts = append(layouts,
		"%v{unpack[<bBhH>iIqQc.$]}", "%v{unpack{bBhs}}", "%v{unpack###>hI###}", "%k{unpack(x.c$)}", "%v{unpack[<q>q$]}", "%v{unpack[.$]}", "%v{unpack[iiiii]}", "%v{unpack[>hb<Qs]}",
		"%a{compression}", "%a{compression;hex8}", "%a{timestamp-type}", "%a{timestamp-type;big16}", "%a{transactional-bit}", "%a{transactional-bit;bool}", "%a{control-bit}", "%a{control-bit;bool}",
		"%h{%k=%v,}", "%H %h{%K:%k %V:%v{hex} }", "%h{ %{%k{base64}%} }", "%%%{%} %i \\t\\n\\r\\\\\\x00\\x7e ü",
		"%d{go[2006-01-02T15:04:05Z07:00]}", "%d{go##Mon Jan _2 15:04:05.000 MST 2006##}", "%d{go{{Monday, 02-Jan-06 3:04PM .999999 002 __2 -0700}}}", "%d{go[January 1 2 06 pm ,000000 Z0700 -07 Jane 20060102]}",
		"%d{strftime[%F %T]}", "%d{strftime### [%F] ###}", "%d{strftime[%a %A %b %B %C %d %D %e %E%y %g %G %h %H %j %k %m %M %n %p %P %R %s %S %t %u %U %V %w %W %x %X %y %Y %z %Z %+ %% %q %]}",
		"%d{strftime[%c]}",
	)
	bad := []string{"%", "%q", "%t{nope}", "%T{nope}", "%h", "%h{%k", "%d{nope}", "%d{strftime[%F}", "%a", "%a{nope}", "%v{unpack[z]}", "%v{unpack[$x]}", "\\q", "\\x0", "%v{hex", "%h{%q}"}
	var outputs []formatted
	for _, f := range append(layouts, bad...) {
		g := formatted{Format: f}
		rf, err := kgo.NewRecordFormatter(f)
		if err != nil {
			g.Err = err.Error()
		} else {
			for _, r := range recs {
				g.Out = append(g.Out, base64.StdEncoding.EncodeToString(rf.AppendPartitionRecord(nil, fp, r)))
			}
		}
		outputs = append(outputs, g)
	}
	rf, _ := kgo.NewRecordFormatter("%t{hex}|%p|%d|%k{hex}|%v{hex}|%h{%k{hex}=%v{hex},}")
	var inputs []read
	for _, c := range [][2]string{
		{"%v\\n", "a\nbb\n\nc\n"},
		{"%k %v\\n", "a b\nc  d\n"},
		{"%k\\t%v\\r\\n", "a\tb\r\nc\td\re\r\n"},
		{"%T{4}%K{4}%V{4}%t%k%v", "topckey1val1tqpckey2val2"},
		{"%p %v\\n", "3 x\n0 y\n"},
		{"%K{big16} foo %k", "\x00\x03 foo abc\x00\x00 foo \x00\x01 foo z"},
		{"%v{re#...?#}\\n", "abc\nab\n"},
		{"%k %v{json}", "key {\"a\" : [1, 2.50 ]}k2 \"x y\"k3 [ ] k4 true"},
		{"%v{json}\\n", "{\"a\":\n \"}\"}\n12\nnull\n"},
		{"%K%k%V%v{hex}", "1a4abcd2bb200"},
		{"%v{base64},%k{hex};", "aGk=,00ff;aGk=,;"},
		{"%H{3}%h{ %k=%v }%v\\n", " a=1  b=2  c=3 v\n"},
		{"%H %h{%K{hex8}%k%V{byte}%v}%v.", "2 01a\x02bb03abc\x00x.0 y."},
		{"%d{13} x", ""},
		{"%d %v\\n", "1700000000123 v\n"},
		{"%d{little64}%v\\n", "\x7b\x68\xe5\xcf\x8b\x01\x00\x00v\n"},
		{"%p{bool}%v\\n", "truea\nfalseb\n"},
		{"%p{hex4}%v\\n", "fa\n0b\n"},
		{"<%k>%v</>\\n", "<a>b</>\n<c>d<</>\n"},
		{"%v", "all of\nit"},
		{"%v\\n", ""},
		{"%p{5}%v\\n", "00012v\n"},
		{"%k%v\\n", "x"},
		{"%V{3}", "abc"},
		{"%v%V\\n", "a1\n"},
		{"%h{%k}", "a"},
		{"%V{hex8}%v{json}", "01a"},
		{"%k{nope}", "01a"},
		{"%K{nope}%k", "01a"},
		{"%x", "x"},
		{"%V %v\\n", "a b\n"},
		{"%k=%v\\n", "a=b\nnope\n"},
		{"foo %v\\n", "foo a\nbar b\n"},
	} {
		i := read{Format: c[0], Input: base64.StdEncoding.EncodeToString([]byte(c[1])), Records: []string{}}
		rr, err := kgo.NewRecordReader(strings.NewReader(c[1]), c[0])
		if err != nil {
			i.Err = "format: " + err.Error()
		} else {
			for n := 0; n < 20; n++ {
				r, err := rr.ReadRecord()
				if err != nil {
					if err.Error() != "EOF" {
						i.Err = err.Error()
					}
					break
				}
				if r.Timestamp.IsZero() {
					r.Timestamp = time.UnixMilli(0)
				}
				i.Records = append(i.Records, string(rf.AppendRecord(nil, r)))
			}
		}
		inputs = append(inputs, i)
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	check(enc.Encode(map[string]any{"output": outputs, "input": inputs}))
}
