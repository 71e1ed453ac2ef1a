// "convex/server": what functions and the schema are made of. Typed builders do not exist at run time: the generic
// ones are all there is.

export {
  internalMutationGeneric,
  internalQueryGeneric,
  mutationGeneric,
  queryGeneric,
  internalMutationGeneric as internalMutation,
  internalQueryGeneric as internalQuery,
  mutationGeneric as mutation,
  queryGeneric as query,
} from "convex/server/functions";
export { defineSchema, defineTable } from "convex/server/schema";
export {
  anyApi,
  anyApi as api,
  anyApi as internal,
  filterApi,
  getFunctionName,
  makeFunctionReference,
} from "convex/server/references";
export {
  actionGeneric,
  createFunctionHandle,
  cronJobs,
  defineApp,
  defineComponent,
  httpActionGeneric,
  httpRouter,
  internalActionGeneric,
  paginationOptsValidator,
} from "convex/server/unsupported";
