// What this deployment does not do. Each name exists, so that the error says which one was used.

export function unsupported(name, instead = "") {
  throw new Error(`\`${name}\` is not supported by the embedded deployment${instead && `: ${instead}`}`);
}

export const actionGeneric = () => unsupported("action");
export const internalActionGeneric = () => unsupported("internalAction");
export const httpActionGeneric = () => unsupported("httpAction");
export const httpRouter = () => unsupported("httpRouter");
export const cronJobs = () => unsupported("cronJobs", "let a scheduled function schedule itself again");
export const createFunctionHandle = () => unsupported("createFunctionHandle");
export const defineApp = () => unsupported("defineApp");
export const defineComponent = () => unsupported("defineComponent");

// Read when a function's arguments are declared: then it is used.
export const paginationOptsValidator = {
  get isConvexValidator() {
    return unsupported("paginationOptsValidator", "use an index range and `take`");
  },
};
