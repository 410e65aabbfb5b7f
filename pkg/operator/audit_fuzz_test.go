package operator_test

import (
	"bytes"
	"testing"

	"geodns/pkg/operator"
)

// FuzzEntry checks that a line is taken only in the one spelling that its entry has.
func FuzzEntry(f *testing.F) {
	e := change(1)
	if err := e.Prepare(); err != nil {
		f.Fatal(err)
	}
	e.Seq, e.Prev = 7, operator.NoHash
	line, err := e.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Add(bytes.ToUpper(line))
	f.Add(append(line, ' '))
	f.Add([]byte(`{"seq":1}`))
	f.Add([]byte(`null`))
	f.Add([]byte{})
	for text := range bytes.SplitSeq(makeSample(f, 1).files.anySegment(), []byte("\n")) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := operator.ParseEntry(line)
		if err != nil {
			return
		}
		again, err := e.Encode()
		if err != nil || !bytes.Equal(again, line) {
			t.Fatalf("line\n%q is taken, but its entry is written as\n%q, %v", line, again, err)
		}
	})
}

// anySegment is the first segment.
func (f folder) anySegment() []byte { return f[f.segments()[0]] }

// FuzzVerifyLog checks that whatever is in the files, verifying ends with a report, and with no finding only where the segment is what
// it was up to its last checkpoint.
func FuzzVerifyLog(f *testing.F) {
	conf := fixedConfig(f, 1)
	l := openLog(f, conf)
	appendN(f, l, 1)
	closeLog(f, l)
	whole := folder(readFolder(f, conf.Dir))
	key, err := operator.ParseLogKey(whole["key.pub"])
	if err != nil {
		f.Fatal(err)
	}
	name := operator.SegmentName(1)
	f.Add(whole[name], whole["head"], []byte{}, whole["key.pub"])
	f.Add(whole[name][:100], whole["head"], whole["head"], whole["key.pub"])
	f.Add([]byte("{}\n\n"), []byte("x"), []byte("y"), []byte("z"))
	f.Fuzz(func(t *testing.T, segment, head, next, public []byte) {
		files := folder{name: segment, "head": head, "head.next": next, "key.pub": public}
		if len(next) == 0 {
			delete(files, "head.next")
		}
		dir := files.write(t)
		report, err := operator.VerifyLog(dir, key)
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Findings) == 0 && !bytes.HasPrefix(segment, whole[name]) {
			t.Error("changed, and nothing was found")
		}
	})
}

// BenchmarkLogAppend measures an entry with its sync, without one, and with callers that share syncs.
func BenchmarkLogAppend(b *testing.B) {
	e := change(1)
	for _, bb := range []struct {
		name     string
		disk     operator.Disk
		parallel int // callers for each processor
	}{
		{"sync", operator.NewDisk(), 0},
		{"nosync", new(faults).disk(), 0},
		{"shared", operator.NewDisk(), 32},
	} {
		b.Run(bb.name, func(b *testing.B) {
			conf := operator.LogConfig{Dir: b.TempDir()}
			conf.Use(bb.disk)
			l := openLog(b, conf)
			b.ReportAllocs()
			if bb.parallel == 0 {
				for b.Loop() {
					if _, err := l.Append(e); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.SetParallelism(bb.parallel)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := l.Append(e); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkVerifyLog measures a line.
func BenchmarkVerifyLog(b *testing.B) {
	conf := operator.LogConfig{Dir: b.TempDir()}
	conf.Use(new(faults).disk())
	l := openLog(b, conf)
	for range 100 {
		entries := make([]operator.Entry, 100)
		for i := range entries {
			entries[i] = change(i)
		}
		if _, err := l.Append(entries...); err != nil {
			b.Fatal(err)
		}
	}
	closeLog(b, l)
	b.SetBytes(l.Status().Bytes)
	for b.Loop() {
		if report := wantWhole(b, conf.Dir); report.Entries < 10_000 {
			b.Fatal(report.Entries)
		}
	}
}
