// What all shaders share. Binding 0 is always the batch (src/backend/vulkan/program.h, BatchLayout).
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_ballot : require
#extension GL_KHR_shader_subgroup_shuffle : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_samplerless_texture_functions : require

layout(set = 0, binding = 0) readonly buffer BatchBuffer { uint batch[]; };

// Words of the batch: how many tokens and outputs, then where the arrays begin.
const uint kTokens = 0, kOutputs = 1, kTokenIds = 2, kPositions = 3, kTableStarts = 4, kOutputRows = 5, kBlocks = 6, kEnds = 7;

// Rows of a value: `domain` is kTokens or kOutputs.
uint row_count(uint domain, uint per_row) { return batch[domain] * per_row; }

// Number of the workgroup, of the invocation, in a list that may be folded over two directions.
uint flat_group() { return gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x; }
uint flat_index(uint lanes) { return flat_group() * lanes + gl_LocalInvocationID.x; }

uint batch_word(uint list, uint i) { return batch[batch[list] + i]; }
