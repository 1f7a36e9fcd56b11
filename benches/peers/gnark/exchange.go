package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark/backend/groth16"
	"github.com/consensys/gnark/backend/witness"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"
)

// The files of a folder: a verifying key, a proof and its public inputs, in gnark's encoding without compression.
const (
	keyFile    = "vk.bin"
	proofFile  = "proof.bin"
	publicFile = "public.bin"
)

// Verifies the proof in a folder.
func verifyFolder(folder string) error {
	key, proof := groth16.NewVerifyingKey(ecc.BN254), groth16.NewProof(ecc.BN254)
	public, err := witness.New(ecc.BN254.ScalarField())
	if err != nil {
		return err
	}
	for name, into := range map[string]io.ReaderFrom{keyFile: key, proofFile: proof, publicFile: public} {
		file, err := os.Open(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		_, err = into.ReadFrom(file)
		file.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return groth16.Verify(proof, key, public)
}

// Proves a short chain and writes the proof into a folder.
func exportFolder(folder string) error {
	const steps, start, end = 2, 3, 263 // (3² + 7)² + 7
	ccs, err := frontend.Compile(ecc.BN254.ScalarField(), r1cs.NewBuilder, &chain{steps: steps})
	if err != nil {
		return err
	}
	proving, verifying, err := groth16.Setup(ccs)
	if err != nil {
		return err
	}
	full, err := frontend.NewWitness(&chain{Start: start, End: end}, ecc.BN254.ScalarField())
	if err != nil {
		return err
	}
	proof, err := groth16.Prove(ccs, proving, full)
	if err != nil {
		return err
	}
	public, err := full.Public()
	if err != nil {
		return err
	}
	return writeFolder(folder, verifying.WriteRawTo, proof.WriteRawTo, public.WriteTo)
}

func writeFolder(folder string, key, proof, public func(io.Writer) (int64, error)) error {
	for name, write := range map[string]func(io.Writer) (int64, error){keyFile: key, proofFile: proof, publicFile: public} {
		file, err := os.Create(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		if _, err := write(file); err != nil {
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}
