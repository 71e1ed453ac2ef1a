// Generated from convex/lib/server.ts by `npm run strip`: change that file, not this one.
// The builders that every function is made with, typed from the schema. There is no generated folder: the same
// sources are deployed to Convex, tested under Node and run by the embedded deployment.

import {
  internalMutationGeneric,
  mutationGeneric,
  queryGeneric,







} from "convex/server";









export const query                                    = queryGeneric;
export const mutation                                       = mutationGeneric;
/** Callable by the deployment's scheduler only. */
export const internalMutation                                         = internalMutationGeneric;
