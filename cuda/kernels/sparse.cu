// The layout and the kernels of sparse.cuh.
#include "sparse.cuh"

#include <algorithm>

namespace pm {

namespace {

// Marks the target of a piece that is part of a long row.
constexpr uint32_t kPartial = 1u << 31;

struct MultiplyPieces {
    static constexpr const char* kName = "sparse product";
    static constexpr uint32_t kThreads = 128, kMinBlocks = 6;
    const uint64_t* slices;
    const uint32_t* lengths;
    const uint32_t* targets;
    const uint32_t* columns;
    const uint32_t* coefficients;
    const Fr* table;
    const Fr* vector;
    Fr* out;
    Fr* partial;

    PM_HD void operator()(uint32_t piece) const {
        uint64_t at = slices[piece / kSlice] + piece % kSlice;
        Fr sum = Fr::zero();
        for (uint32_t i = 0; i < lengths[piece]; i++, at += kSlice) {
            uint32_t coefficient = coefficients[at];
            Fr value = vector[columns[at]];
            if (coefficient == kMinusOneIndex) {
                sum = sum - value;
            } else {
                if (coefficient != kOneIndex) value = value * table[coefficient];
                sum = sum + value;
            }
        }
        uint32_t target = targets[piece];
        if (target & kPartial)
            partial[target & ~kPartial] = sum;
        else
            out[target] = sum;
    }
};

struct AddPieces {
    static constexpr const char* kName = "long rows";
    static constexpr uint32_t kThreads = 128, kMinBlocks = 6;
    const uint32_t* targets;
    const uint32_t* starts;
    const Fr* partial;
    Fr* out;

    PM_HD void operator()(uint32_t i) const {
        Fr sum = Fr::zero();
        for (uint32_t k = starts[i]; k < starts[i + 1]; k++) sum = sum + partial[k];
        out[targets[i]] = sum;
    }
};

struct Piece {
    uint64_t begin;
    uint32_t length, target;
};

template <class T>
Buffer<T> upload(Stream& stream, const std::vector<T>& values) {
    Buffer<T> buffer(values.size());
    stream.to_device(buffer.data(), values.data(), values.size() * sizeof(T));
    stream.synchronize();
    return buffer;
}

} // namespace

SparseMatrix::SparseMatrix(Stream& stream, const CompressedRows& matrix) : rows_(matrix.rows) {
    std::vector<Piece> pieces;
    std::vector<uint32_t> long_targets, long_starts{0};
    uint32_t partials = 0;
    for (uint32_t row = 0; row < matrix.rows; row++) {
        uint64_t begin = row ? matrix.row_ends[row - 1] : 0, end = matrix.row_ends[row];
        if (end - begin <= kMaxPiece) {
            pieces.push_back({begin, uint32_t(end - begin), row});
            continue;
        }
        for (; begin < end; begin += kMaxPiece)
            pieces.push_back({begin, uint32_t(std::min<uint64_t>(kMaxPiece, end - begin)), kPartial | partials++});
        long_targets.push_back(row);
        long_starts.push_back(partials);
    }
    std::stable_sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.length > b.length; });
    pieces_ = uint32_t(pieces.size());
    long_rows_ = uint32_t(long_targets.size());

    std::vector<uint64_t> slices;
    std::vector<uint32_t> lengths, targets, columns, coefficients;
    for (uint32_t first = 0; first < pieces_; first += kSlice) {
        uint64_t at = columns.size();
        slices.push_back(at);
        uint32_t count = std::min(kSlice, pieces_ - first);
        // Sorted, so the first piece is the longest; what is missing of the others is never read.
        columns.resize(at + size_t(pieces[first].length) * kSlice);
        coefficients.resize(columns.size());
        for (uint32_t k = 0; k < count; k++) {
            const Piece& piece = pieces[first + k];
            lengths.push_back(piece.length);
            targets.push_back(piece.target);
            for (uint32_t i = 0; i < piece.length; i++) {
                multiplications_ += matrix.coefficients[piece.begin + i] > kMinusOneIndex;
                columns[at + size_t(i) * kSlice + k] = matrix.columns[piece.begin + i];
                coefficients[at + size_t(i) * kSlice + k] = matrix.coefficients[piece.begin + i];
            }
        }
    }
    slices_ = upload(stream, slices);
    lengths_ = upload(stream, lengths);
    targets_ = upload(stream, targets);
    columns_ = upload(stream, columns);
    coefficients_ = upload(stream, coefficients);
    long_targets_ = upload(stream, long_targets);
    long_starts_ = upload(stream, long_starts);
    partial_ = Buffer<Fr>(partials);
}

uint64_t SparseMatrix::bytes(const CompressedRows& matrix) {
    // Terms with the padding of slices (pieces in a slice differ little), and four words a piece.
    uint64_t terms = matrix.rows ? matrix.row_ends[matrix.rows - 1] : 0;
    return 8 * terms + 8 * terms / 8 + 20ull * (matrix.rows + terms / kMaxPiece) + (1 << 16);
}

void SparseMatrix::multiply(Stream& stream, const Fr* table, const Fr* vector, Fr* out) const {
    launch_items(stream, pieces_,
                 MultiplyPieces{slices_.data(), lengths_.data(), targets_.data(), columns_.data(), coefficients_.data(), table, vector, out,
                                partial_.data()});
    launch_items(stream, long_rows_, AddPieces{long_targets_.data(), long_starts_.data(), partial_.data(), out});
}

} // namespace pm
