// Generated from convex/lib/taskJobs.ts by `npm run strip`: change that file, not this one.
// The scheduled functions of the task queue, by name: see jobs.ts.

import { makeFunctionReference } from "convex/server";

export const checkLease = makeFunctionReference                                                                  ("tasks:checkLease");
