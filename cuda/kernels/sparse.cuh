// Products of a sparse matrix with a vector of field elements.
//
// Coefficients are indices into one table whose entries 0 and 1 are 1 and -1, which cost no multiplication. Rows are cut into pieces of at most
// kMaxPiece terms and the pieces ordered by length; 32 pieces, a warp, form a slice whose terms lie column by column (SELL-C-sigma;
// Kreutzer et al., "A unified sparse matrix data format", 2014), so that a warp reads its terms without gaps and its threads end together.
// A row in one piece is written at once; the pieces of a longer row go to a list that a second kernel adds up.
#pragma once

#include <vector>

#include "field.cuh"
#include "runtime.cuh"

namespace pm {

constexpr uint32_t kSlice = 32;
constexpr uint32_t kMaxPiece = 64;
constexpr uint32_t kOneIndex = 0, kMinusOneIndex = 1;

// A matrix in compressed rows in main memory: row i has the terms row_ends[i-1]..row_ends[i].
struct CompressedRows {
    uint32_t rows;
    const uint64_t* row_ends;
    const uint32_t* columns;
    const uint32_t* coefficients;
};

class SparseMatrix {
  public:
    SparseMatrix() = default;
    // The matrix must have been checked: row ends ascend, columns and coefficients are in range.
    SparseMatrix(Stream& stream, const CompressedRows& rows);
    static uint64_t bytes(const CompressedRows& rows);

    // out[row] = sum of table[coefficient] * vector[column] for all rows.
    void multiply(Stream& stream, const Fr* table, const Fr* vector, Fr* out) const;
    uint32_t rows() const { return rows_; }
    // Terms whose coefficient is neither 1 nor -1.
    uint64_t multiplications() const { return multiplications_; }

  private:
    uint32_t rows_ = 0, pieces_ = 0, long_rows_ = 0;
    uint64_t multiplications_ = 0;
    // Where a slice's terms begin, how many terms a piece has, where its result goes.
    Buffer<uint64_t> slices_;
    Buffer<uint32_t> lengths_, targets_, columns_, coefficients_;
    // Row and first partial result of each long row, and one end more.
    Buffer<uint32_t> long_targets_, long_starts_;
    mutable Buffer<Fr> partial_;
};

} // namespace pm
