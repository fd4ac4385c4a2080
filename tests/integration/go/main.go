// Command tlogcheck reads a log folder with nothing but Go's own golang.org/x/mod/sumdb/note and sumdb/tlog.
//
//	tlogcheck verify FOLDER STEP [CHECKPOINT...]
//	    the log, every STEP-th entry in it and the last, and that it continues each earlier checkpoint
//	tlogcheck sign NAME SEED < TEXT           a verifier key, an empty line, and the text as a note signed by that key
//	tlogcheck open VKEY... < NOTE             the names of the signatures that hold, then those of keys it does not know
//	tlogcheck each VKEY < NOTES               for each line, a note in hex: its text in hex, or "no" where it is refused
//
// Exit 0 = it holds, 1 = it does not.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tlogcheck:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) >= 3 && args[0] == "verify":
		step, err := strconv.ParseInt(args[2], 10, 64)
		if err != nil || step < 1 {
			return errors.New("STEP is a number from 1 on")
		}
		return verify(args[1], step, args[3:])
	case len(args) == 3 && args[0] == "sign":
		return sign(args[1], args[2])
	case len(args) >= 2 && args[0] == "open":
		return open(args[1:])
	case len(args) == 2 && args[0] == "each":
		return each(args[1])
	}
	return errors.New("verify FOLDER STEP [CHECKPOINT...] | sign NAME SEED | open VKEY... | each VKEY")
}

// folder reads tiles as tlog asks for them. Its paths name the height of a tile, which tlog-tiles fixes and leaves out;
// what is `entries` there is `data` here, by the same numbers.
type folder struct {
	path string
	held map[string][]byte
}

func (f *folder) Height() int                         { return height }
func (f *folder) SaveTiles(_ []tlog.Tile, _ [][]byte) {}

func (f *folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := f.read(tile)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (f *folder) read(tile tlog.Tile) ([]byte, error) {
	path := "tile/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
	path = strings.Replace(path, "tile/data/", "tile/entries/", 1)
	if data, ok := f.held[path]; ok {
		return data, nil
	}
	data, err := os.ReadFile(filepath.Join(f.path, path))
	if err == nil {
		f.held[path] = data
	}
	return data, err
}

// tree is the checkpoint of a log: origin, size and root in a note that the key signed.
func tree(signed []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("origin %q is not %q", lines[0], verifier.Name())
	}
	// tlog reads the tree heads of Go's own database, whose first line is fixed; the others are the same.
	return tlog.ParseTree([]byte("go.sum database tree\n" + strings.Join(lines[1:], "\n")))
}

func verify(path string, step int64, earlier []string) error {
	vkey, err := os.ReadFile(filepath.Join(path, "log.vkey"))
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(strings.TrimSuffix(string(vkey), "\n"))
	if err != nil {
		return err
	}
	signed, err := os.ReadFile(filepath.Join(path, "checkpoint"))
	if err != nil {
		return err
	}
	now, err := tree(signed, verifier)
	if err != nil {
		return err
	}
	files := &folder{path, map[string][]byte{}}
	hashes := tlog.TileHashReader(now, files)

	// Every bundle, and proofs of inclusion for its entries, made of the tiles.
	proved := 0
	for start := int64(0); start < now.N; start += 1 << height {
		width := now.N - start
		if width > 1<<height {
			width = 1 << height
		}
		bundle, err := files.read(tlog.Tile{H: height, L: -1, N: start >> height, W: int(width)})
		if err != nil {
			return err
		}
		for index := start; index < start+width; index++ {
			if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
				return fmt.Errorf("the bundle of entry %d ends early", index)
			}
			length := 2 + int(binary.BigEndian.Uint16(bundle))
			entry := bundle[2:length]
			bundle = bundle[length:]
			if index%step != 0 && index != now.N-1 {
				continue
			}
			proof, err := tlog.ProveRecord(now.N, index, hashes)
			if err != nil {
				return fmt.Errorf("entry %d: %w", index, err)
			}
			if err := tlog.CheckRecord(proof, now.N, now.Hash, index, tlog.RecordHash(entry)); err != nil {
				return fmt.Errorf("entry %d: %w", index, err)
			}
			proved++
		}
		if len(bundle) != 0 {
			return fmt.Errorf("%d bytes follow the entries of a bundle", len(bundle))
		}
	}

	// Every checkpoint that was kept is of a beginning of this log.
	for _, name := range earlier {
		signed, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		then, err := tree(signed, verifier)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveTree(now.N, then.N, hashes)
		if err != nil {
			return fmt.Errorf("size %d: %w", then.N, err)
		}
		if err := tlog.CheckTree(proof, now.N, now.Hash, then.N, then.Hash); err != nil {
			return fmt.Errorf("size %d: %w", then.N, err)
		}
	}
	fmt.Printf("%s: %d of %d entries included, %d checkpoints continued\n", verifier.Name(), proved, now.N, len(earlier))
	return nil
}

func sign(name, seed string) error {
	raw, err := hex.DecodeString(seed)
	if err != nil {
		return err
	}
	private, public, err := note.GenerateKey(bytes.NewReader(raw), name)
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	signed, err := note.Sign(&note.Note{Text: string(text)}, signer)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n\n%s", public, signed)
	return nil
}

func open(vkeys []string) error {
	var verifiers []note.Verifier
	for _, vkey := range vkeys {
		verifier, err := note.NewVerifier(vkey)
		if err != nil {
			return err
		}
		verifiers = append(verifiers, verifier)
	}
	signed, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	opened, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return err
	}
	for _, signature := range opened.Sigs {
		fmt.Println("holds", signature.Name)
	}
	for _, signature := range opened.UnverifiedSigs {
		fmt.Println("unknown", signature.Name)
	}
	return nil
}

func each(vkey string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		signed, err := hex.DecodeString(lines.Text())
		if err != nil {
			return err
		}
		opened, err := note.Open(signed, note.VerifierList(verifier))
		if err != nil {
			fmt.Fprintln(out, "no")
			continue
		}
		fmt.Fprintln(out, "text", hex.EncodeToString([]byte(opened.Text)))
	}
	return lines.Err()
}
