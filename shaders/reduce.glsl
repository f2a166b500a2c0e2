// Sums and maxima over a workgroup of at most 1024 lanes. Every lane calls and gets the result.
shared float reduced[128];

float workgroup_sum(float v, uint lanes) {
    v = subgroupAdd(v);
    if (lanes <= gl_SubgroupSize) return v;
    barrier();
    if (subgroupElect()) reduced[gl_SubgroupID] = v;
    barrier();
    float sum = 0.0;
    for (uint i = 0; i < gl_NumSubgroups; ++i) sum += reduced[i];
    return sum;
}

float workgroup_max(float v, uint lanes) {
    v = subgroupMax(v);
    if (lanes <= gl_SubgroupSize) return v;
    barrier();
    if (subgroupElect()) reduced[gl_SubgroupID] = v;
    barrier();
    float most = reduced[0];
    for (uint i = 1; i < gl_NumSubgroups; ++i) most = max(most, reduced[i]);
    return most;
}
