"""Secure aggregation: a server learns the sum of what people send, and nothing of what any of them sent.

| module | what it is |
|---|---|
| `shamir` | a secret in shares, of which some number gives it back |
| `agreement` | keys that two people have in common, and what is sealed with them |
| `masks` | streams of ring elements that cancel in the sum |
| `session` | who is asked, how many it takes, and everybody's public keys |
| `participant` | one person through a round: four questions, each answered once |
| `opening` | the server's end: the sum without its masks |

Nothing here knows a network, and nothing a weight: a vector of ring elements goes in, the sum comes out.

Source:
    Bonawitz, Ivanov, Kreuter, Marcedone, McMahan, Patel, Ramage, Segal & Seth 2017, "Practical Secure Aggregation for
    Privacy-Preserving Machine Learning", ACM CCS (figure 4, without the parts for a server that breaks the rules).
"""
