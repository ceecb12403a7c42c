// Whether what is chosen by the shape ignores the batch size, so that a sample has the same bits in a batch of any
// size.
#pragma once

namespace sixloop {

bool batch_invariant();
void set_batch_invariant(bool on);

}  // namespace sixloop
