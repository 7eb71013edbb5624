// Each type by itself, since a compiler takes its time.
#include "losses_cuda/fused_kernel.cuh"

namespace bottomup {

template void launch_fused_pass<Float16>(const FusedPass &pass, Launcher &launches);

} // namespace bottomup
