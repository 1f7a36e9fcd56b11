"use strict";

const defaultQuery = `# proofmill: amounts are wei, as decimal strings.
{
  system {
    version
    chainId
    contract
    limits {
      quantum
      minAmount
    }
    progress {
      openBatch
      provenBatch
      finalBatch
    }
  }
  batches(first: 5) {
    nodes {
      number
      circuit
      stage
      l1Tx
    }
  }
}
`;

const fetcher = GraphiQL.createFetcher({ url: "/graphql" });
const root = ReactDOM.createRoot(document.getElementById("graphiql"));
root.render(React.createElement(GraphiQL, { fetcher, defaultQuery, shouldPersistHeaders: false }));
