// The scheduled functions of the task queue, by name: see jobs.ts.

import { makeFunctionReference } from "convex/server";

export const checkLease = makeFunctionReference<"mutation", { taskId: string; leaseId: string; again?: boolean }>("tasks:checkLease");
