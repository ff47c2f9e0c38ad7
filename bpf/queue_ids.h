/* SPDX-License-Identifier: GPL-2.0-only */
/* The numbers of pyland's queues in the kernel. A CPU's own queue has the CPU's number. */
#ifndef PYLAND_QUEUE_IDS_H
#define PYLAND_QUEUE_IDS_H

#define SCHED_DSQ	(1ULL << 20)	/* the user-space scheduler's threads */
#define HOLDING_DSQ	(1ULL << 21)	/* + LLC: held until the policy has decided */
#define DOMAIN_DSQ	(1ULL << 22)	/* + domain: for a group of CPUs, by vtime */
#define THROTTLED_DSQ	(1ULL << 23)	/* their group has used its quota (bandwidth.bpf.h) */

#endif
