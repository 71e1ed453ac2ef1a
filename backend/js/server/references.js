// References to functions: `anyApi.dir.module.name` and `makeFunctionReference("dir/module:name")` are the same.

const NAME = Symbol.for("functionName");

export function makeFunctionReference(name) {
  return { [NAME]: name };
}

function reference(parts) {
  return new Proxy(
    {},
    {
      get(_, property) {
        if (property === NAME) {
          if (parts.length < 2) throw new Error(`\`api.${parts.join(".")}\` is not a function reference`);
          return `${parts.slice(0, -1).join("/")}:${parts.at(-1)}`;
        }
        return typeof property === "string" ? reference([...parts, property]) : undefined;
      },
    },
  );
}

export const anyApi = reference([]);
export const filterApi = (api) => api;

/** The canonical `module:name` of a reference. */
export function getFunctionName(target) {
  const name = typeof target === "string" ? target : target?.[NAME];
  if (typeof name !== "string") throw new Error("this is not a function reference");
  const [module, ...rest] = name.split(":");
  return `${module.replace(/\.js$/, "")}:${rest.join(":") || "default"}`;
}
