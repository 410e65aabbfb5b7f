package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// How progress is shown.
const (
	// progressAfter: what is done sooner needs no word.
	progressAfter = time.Second
	// progressEvery is how often the line moves.
	progressEvery = 100 * time.Millisecond
	// lineErase goes to the line's begin and empties it (ECMA-48 EL).
	lineErase = "\r\x1b[K"
)

// progressMarks are the spinner's, one after the other: ASCII, as any terminal has it.
const progressMarks = `|/-\`

// progress says on a terminal what takes long, from a second on, until stop is called; then the line is gone. stop returns when
// nothing more is written. Elsewhere nothing is said: a log wants results.
func progress(w io.Writer, what string) (stop func()) {
	if _, ok := terminal(w); !ok || os.Getenv("TERM") == "dumb" {
		return func() {}
	}
	return spin(w, what)
}

// spin shows progress on a terminal.
func spin(w io.Writer, what string) (stop func()) {
	ending, ended := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(ended)
		timer := time.NewTimer(progressAfter)
		defer timer.Stop()
		shown := false
		for turn := 0; ; turn++ {
			select {
			case <-ending:
				if shown {
					fmt.Fprint(w, lineErase)
				}
				return
			case <-timer.C:
				fmt.Fprintf(w, "%s%c %s, %d s ", lineErase, progressMarks[turn%len(progressMarks)], what, int(time.Since(began).Seconds()))
				shown = true
				timer.Reset(progressEvery)
			}
		}
	}()
	return func() {
		close(ending)
		<-ended
	}
}
