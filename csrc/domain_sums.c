// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gauges of some domains together. Each look at the parts of a composed policy reads them: in
 * Python that takes 0.8 us for a domain.
 */
#include "pyland_native.h"

void pyland_sum_domains(const struct pyland_user_domain *domains, const unsigned int *numbers,
			unsigned int nr, struct pyland_domain_sums *sums)
{
	*sums = (struct pyland_domain_sums){};
	for (unsigned int i = 0; i < nr; i++) {
		const struct pyland_user_domain *d;
		long long runnable, weight;

		if (numbers[i] >= PYLAND_NR_DOMAINS)
			continue;
		d = &domains[numbers[i]];
		/* A counter that two CPUs change at this moment may be below zero. */
		runnable = __atomic_load_n(&d->nr_runnable, __ATOMIC_RELAXED);
		weight = __atomic_load_n(&d->weight_runnable, __ATOMIC_RELAXED);
		sums->nr_runnable += runnable > 0 ? runnable : 0;
		sums->weight += weight > 0 ? weight : 0;
		sums->nr_waiting += d->nr_waiting;
		sums->used_ns += __atomic_load_n(&d->used_ns, __ATOMIC_RELAXED);
	}
}
