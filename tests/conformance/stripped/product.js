// Generated from tests/conformance/functions/product.ts by `npm run strip`: change that file, not this one.
// The product's schema under a name of its own. The deployment of the tests puts the product's source in its place.

export { default } from "../../../convex/schema";
