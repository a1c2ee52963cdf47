# Three towns and an island.
graph [
  Network "Towns"
  directed 0
  node [ id 0 label "Aden &amp; Bray" Latitude 50.0 Longitude 8.0 ]
  node [
    id 1
    label "Cork"
    Latitude 51.0
    Longitude 8.0
    graphics [ x 1 y 2 ]
  ]
  node [ id 7 label "K&#246;ln" ]
  node [ id 8 label "Lone" ]
  edge [ source 0 target 1 LinkLabel "10 Gbps" ]
  edge [ source 1 target 7 delay "3ms" bw "100M" ]
]
