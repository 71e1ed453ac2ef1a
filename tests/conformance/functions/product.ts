// The product's schema under a name of its own. The deployment of the tests puts the product's source in its place.

export { default } from "../../../convex/schema";
