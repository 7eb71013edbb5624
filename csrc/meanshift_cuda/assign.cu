#include "contracts/assign.h"

#include "meanshift_cuda/nearest.h"

namespace bottomup {

int64_t assign_cuda_workspace(const AssignProblem &) { return 0; }

CudaStatus assign_cuda(const AssignProblem &problem, void *, int32_t *input_status,
                       CudaStream stream) {
  Launcher run(stream);
  NearestTask task{};
  task.features = problem.features;
  task.normalise = true;
  task.modes = problem.modes;
  task.mode_rows = problem.max_modes;
  task.mode_stride = problem.features.dimensions;
  task.num_modes = problem.num_modes;
  task.most_modes = static_cast<int32_t>(problem.max_modes);
  task.none = -1;
  task.index = problem.index;
  task.score = problem.score;
  task.input_status = input_status;
  find_nearest(run, task);
  return run.status();
}

} // namespace bottomup
