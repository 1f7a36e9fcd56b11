package main

import (
	"fmt"
	"math/big"
	"runtime"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr/fft"
	"github.com/consensys/gnark/backend/groth16"
	groth16_bn254 "github.com/consensys/gnark/backend/groth16/bn254"
	"github.com/consensys/gnark/constraint"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"
	"github.com/consensys/gnark/logger"
)

// Above this size a key is made of distinct points instead of by a setup, which would take minutes: its proofs cost the
// same and do not verify.
const largestSetup = 18

func init() {
	logger.Disable()
}

func prepare(work string, log int) (func() error, error) {
	switch work {
	case "msm-g1":
		points, scalars := bn254.BatchScalarMultiplicationG1(&generators.g1, distinct(log)), random(log)
		return func() error {
			var sum bn254.G1Jac
			_, err := sum.MultiExp(points, scalars, ecc.MultiExpConfig{NbTasks: runtime.GOMAXPROCS(0)})
			return err
		}, nil
	case "msm-g2":
		points, scalars := bn254.BatchScalarMultiplicationG2(&generators.g2, distinct(log)), random(log)
		return func() error {
			var sum bn254.G2Jac
			_, err := sum.MultiExp(points, scalars, ecc.MultiExpConfig{NbTasks: runtime.GOMAXPROCS(0)})
			return err
		}, nil
	case "ntt":
		domain, values := fft.NewDomain(1<<log), random(log)
		return func() error {
			domain.FFT(values, fft.DIF, fft.WithNbTasks(runtime.GOMAXPROCS(0)))
			return nil
		}, nil
	case "prove":
		return prepareProof(log)
	}
	return nil, fmt.Errorf("does no %s", work)
}

var generators = func() (g struct {
	g1 bn254.G1Affine
	g2 bn254.G2Affine
}) {
	_, _, g.g1, g.g2 = bn254.Generators()
	return g
}()

func random(log int) []fr.Element {
	values := make([]fr.Element, 1<<log)
	for i := range values {
		values[i].MustSetRandom()
	}
	return values
}

// Consecutive multiples of something: their points are distinct.
func distinct(log int) []fr.Element {
	values := make([]fr.Element, 1<<log)
	one := fr.One()
	values[0].MustSetRandom()
	for i := 1; i < len(values); i++ {
		values[i].Add(&values[i-1], &one)
	}
	return values
}

// The dense chain: x -> x^2 + 7, every variable in A, B and C.
type chain struct {
	Start frontend.Variable
	End   frontend.Variable `gnark:",public"`
	steps int
}

func (c *chain) Define(api frontend.API) error {
	x := c.Start
	for range c.steps {
		x = api.Add(api.Mul(x, x), 7)
	}
	api.AssertIsEqual(x, c.End)
	return nil
}

func prepareProof(log int) (func() error, error) {
	// With the equality at the end as many constraints as the other provers' chain has.
	steps := 1<<log - 9
	ccs, err := frontend.Compile(ecc.BN254.ScalarField(), r1cs.NewBuilder, &chain{steps: steps})
	if err != nil {
		return nil, err
	}
	var start, end, seven fr.Element
	start.MustSetRandom()
	seven.SetUint64(7)
	end.Set(&start)
	for range steps {
		end.Square(&end).Add(&end, &seven)
	}
	assignment := chain{Start: start.BigInt(new(big.Int)), End: end.BigInt(new(big.Int))}
	witness, err := frontend.NewWitness(&assignment, ecc.BN254.ScalarField())
	if err != nil {
		return nil, err
	}
	public, err := witness.Public()
	if err != nil {
		return nil, err
	}
	if log > largestSetup {
		key := fabricatedKey(ccs, log)
		return func() error {
			_, err := groth16.Prove(ccs, key, witness)
			return err
		}, nil
	}
	key, verifyingKey, err := groth16.Setup(ccs)
	if err != nil {
		return nil, err
	}
	proof, err := groth16.Prove(ccs, key, witness)
	if err != nil {
		return nil, err
	}
	if err := groth16.Verify(proof, verifyingKey, public); err != nil {
		return nil, err
	}
	return func() error {
		_, err := groth16.Prove(ccs, key, witness)
		return err
	}, nil
}

// A key of the right shape whose points are distinct and mean nothing.
func fabricatedKey(ccs constraint.ConstraintSystem, log int) groth16.ProvingKey {
	points := bn254.BatchScalarMultiplicationG1(&generators.g1, distinct(log))
	variables := ccs.GetNbPublicVariables() + ccs.GetNbSecretVariables() + ccs.GetNbInternalVariables()
	key := &groth16_bn254.ProvingKey{Domain: *fft.NewDomain(uint64(ccs.GetNbConstraints()))}
	key.G1.Alpha, key.G1.Beta, key.G1.Delta = points[0], points[1], points[2]
	key.G1.A, key.G1.B = points[:variables], points[:variables]
	key.G1.Z = points[:key.Domain.Cardinality-1]
	key.G1.K = points[:variables-ccs.GetNbPublicVariables()]
	pointsG2 := bn254.BatchScalarMultiplicationG2(&generators.g2, distinct(log))
	key.G2.Beta, key.G2.Delta, key.G2.B = pointsG2[0], pointsG2[1], pointsG2[:variables]
	key.InfinityA, key.InfinityB = make([]bool, variables), make([]bool, variables)
	return key
}
