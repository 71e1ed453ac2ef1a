// `defineSchema` and `defineTable`: they collect, the host checks and builds.

import { v } from "convex/values";
import { unsupported } from "convex/server/unsupported";

class TableDefinition {
  #indexes = [];

  constructor(validator) {
    this.validator = validator;
  }

  index(name, config) {
    const fields = Array.isArray(config) ? config : config.fields;
    this.#indexes.push({ indexDescriptor: name, fields });
    return this;
  }

  searchIndex() {
    return unsupported("searchIndex");
  }

  vectorIndex() {
    return unsupported("vectorIndex");
  }

  export() {
    return { indexes: this.#indexes, documentType: this.validator.json };
  }
}

export function defineTable(fields) {
  const validator = fields.isConvexValidator ? fields : v.object(fields);
  return new TableDefinition(validator);
}

export function defineSchema(tables, options = {}) {
  return {
    tables,
    isSchema: true,
    schemaValidation: options.schemaValidation ?? true,
    export() {
      const exported = Object.entries(tables).map(([tableName, table]) => ({ tableName, ...table.export() }));
      return JSON.stringify({ tables: exported, schemaValidation: this.schemaValidation });
    },
  };
}
